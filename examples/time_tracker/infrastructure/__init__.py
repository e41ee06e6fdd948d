"""How workers reach the world: database, file store, documents, extraction service. Each fulfils a port."""
