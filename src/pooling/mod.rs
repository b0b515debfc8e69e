//! Schema `pooling`: connections and their pools.
