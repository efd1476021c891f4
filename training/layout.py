"""How an engagement model lies in an artifact: the format, and the names of its files."""

FORMAT = 3
WEIGHTS, PEERS, HEADER = "weights.safetensors", "peers.safetensors", "model.json"
GOLDEN, REFERENCE = "golden.safetensors", "reference.arrow"
