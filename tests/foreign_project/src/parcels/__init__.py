"""An app that keeps track of parcels, and knows nothing of how it is tested."""
