"""Where the course of a training or trial goes as it happens: TensorBoard's files, and services that are named."""
