python recipes/digits.py --multirun method=hadis,propos,byol,cc,pici seed=0,1,2
