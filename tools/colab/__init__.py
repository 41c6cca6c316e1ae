"""What `tools.rehearse_colab` is made of.

- `environment`: Colab's Python and packages, as `versions.txt` lists them, and the stub.
- `outcome`: what an executed notebook shows beside the stored one.
"""
