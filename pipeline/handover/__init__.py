"""A query as others read it: spreadsheets, Label Studio, CVAT, COCO's readers, people with paper. Pure."""
