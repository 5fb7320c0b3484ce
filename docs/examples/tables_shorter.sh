python benchmarks/paper_tables.py methods=hadis datasets=cifar10 seeds=0 tables=II \
    trainer.max_epochs=200 folder=runs/tables_of_200_epochs
