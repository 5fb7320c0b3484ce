pip install hadis-lightly
