"""The Landscape's tables by what they tell of; `landscape.schema` names them all."""
