python benchmarks/speed/throughput.py --data cifar10.npz --csv throughput.csv
python benchmarks/speed/profile_step.py --data cifar10.npz --csv profile.csv
python benchmarks/quality/compare.py --recipe cifar10 --data cifar10.npz --epochs 10 \
    --seeds 0 --features --tries "" model.teacher_momentum=0.99 optimizer.learning_rate=0.1
python benchmarks/quality/linear_accuracy.py runs/cifar10/mine --data cifar10.npz
