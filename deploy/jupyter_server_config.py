"""JupyterLab on a rented machine: reached through a tunnel, and gone when nobody works."""

IDLE_S = 30 * 60

c = get_config()  # noqa: F821 (Jupyter defines it)
c.ServerApp.ip = "127.0.0.1"  # only from the machine itself, so only through SSH
c.ServerApp.port = 8888
c.ServerApp.port_retries = 0  # another port would not be forwarded
c.ServerApp.open_browser = False
c.ServerApp.allow_root = True  # containers run as root
c.LabApp.default_url = "/lab/tree/notebooks/00_tldr.ipynb"

# A kernel that computes is left alone. Kernels and terminals that rest are ended, then the server
# ends, and with it the task, so that whoever rents the machine sees it idle. What the kernels held
# is lost, files are not. An open browser tab counts as work: it keeps asking.
c.MappingKernelManager.cull_idle_timeout = IDLE_S
c.MappingKernelManager.cull_connected = True
c.TerminalManager.cull_inactive_timeout = IDLE_S
c.ServerApp.shutdown_no_activity_timeout = IDLE_S
