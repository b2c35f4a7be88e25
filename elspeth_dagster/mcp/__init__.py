"""The MCP server: the Landscape's questions as tools for agents, read-only, over standard input and output."""
