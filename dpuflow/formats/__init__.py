"""Reading and writing files: GraphDef, XIR, DNNDK configuration; each to and from plain data."""
