import torch
from samples import load_hypothesis_profile

load_hypothesis_profile()
torch.set_num_threads(2)
