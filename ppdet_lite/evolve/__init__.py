"""Search for hyper-parameters: genes, samplers, trials in processes of their own, one table."""
