python benchmarks/throughput.py --data cifar10.npz --csv throughput.csv
python benchmarks/profile_step.py --data cifar10.npz --csv profile.csv
python benchmarks/short_runs.py --data cifar10.npz --epochs 10 --csv short_runs.csv
python benchmarks/linear_accuracy.py runs/cifar10/mine --data cifar10.npz
