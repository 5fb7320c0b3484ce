python benchmarks/paper/paper_tables.py --methods hadis --datasets cifar10 --seeds 0 \
    --tables II --folder runs/tables_of_200_epochs trainer.max_epochs=200
