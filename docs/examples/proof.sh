# everything, in one command: 12 minutes, the training fills what the benchmarks leave
python benchmarks/gpu/proof.py --data cifar10.npz --minutes 12 --folder proof
# without benchmarks, two views, and another teacher
python benchmarks/gpu/proof.py --data cifar10.npz --minutes 55 --share 0 --folder hour \
    --recipe cifar10_short model.teacher_momentum=0.996 model.final_teacher_momentum=null
# all of it in small, on a CPU
python benchmarks/gpu/proof.py --data cifar10.npz --minutes 14 --folder small --tiny
