"""What is computed: model specs, operators, and workloads in closed form."""
