python recipes/digits.py --multirun seed=0,1,2,3
