"""The stages, distributed. The only folder that imports Ray: plain functions come in, Ray runs them."""
