"""From images to batches: loaders, samplers, memory of the device."""
