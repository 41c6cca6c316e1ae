"""A llama.cpp server beside the notebook, and what Ollama needs to serve the same model."""

import contextlib
import dataclasses
import http.client
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onegpu import llama_cpp, processes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Server", "address", "is_address", "modelfile", "request", "serve"]

HOST = "127.0.0.1"  # loopback: no other machine can reach it
CHAT_PAGE = Path(__file__).parent / "data" / "chat_page"  # what a browser shows at the address
# The server is the child of a process that waits for the end of its own input. When the notebook's
# kernel dies, however it dies, that pipe closes, and the server is stopped.
GUARD = """\
import os, subprocess, sys, threading
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
def wait():
    os.read(0, 1)
    server.kill()
threading.Thread(target=wait, daemon=True).start()
code = server.wait()
os._exit(128 - code if code < 0 else code)  # as shells tell of a signal
"""


@dataclasses.dataclass(eq=False, repr=False)
class Server:
    """A running llama.cpp server.

    Attributes:
        url: Its address, `http://127.0.0.1:PORT`; the OpenAI-compatible part is at `url + "/v1"`.
        log: The file that it writes to.
    """

    url: str
    log: Path
    _process: subprocess.Popen

    def __repr__(self) -> str:
        """Say whether it runs, and where."""
        return f"Server({self.url}, {'running' if self.is_running() else 'stopped'})"

    def is_running(self) -> bool:
        """Return whether the process is alive."""
        return self._process.poll() is None

    def why_silent(self) -> str:
        """Return how the process ended, if it has, and the last lines of its log.

        Returns:
            Two parts of a message, each on a line of its own.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1)  # its connections close a moment before it has ended
        code = self._process.returncode
        ended = "" if code is None else f"\nllama-server {processes.how_it_ended(code)}"
        last = "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-5:])
        return f"{ended}\n{last}"

    def stop(self) -> None:
        """Stop the process; do nothing if it has ended."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.wait(timeout=30)


@contextlib.contextmanager
def serve(
    model: Path | str,
    *,
    adapters: Sequence[Path | str] = (),
    context: int = 2048,
    port: int | None = None,
    timeout: float = 60,
) -> Iterator[Server]:
    """Serve a GGUF file on this machine alone, until the block ends or the process dies.

    Args:
        model: The GGUF file.
        adapters: Adapters as GGUF files. All are applied, unless a request asks for others:
            `"lora": [{"id": 0, "scale": 0.0}]`.
        context: Tokens that a conversation may have.
        port: Of loopback; a free one without it.
        timeout: Seconds to wait until the server answers.

    Yields:
        The server, ready to answer.

    Raises:
        FileNotFoundError: A file is not there, or llama.cpp is not (see `llama_cpp.install`).
        OSError: The port is taken.
        RuntimeError: The server ended, or did not answer in time; with the end of its log.

    Taught in: notebooks/06_deployment.ipynb
    """
    for path in (model, *adapters):
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path} is no file: give a .gguf file, as gguf.convert writes")
    port = _free_port(port)
    command = [llama_cpp.tool("llama-server"), "--model", model, "--host", HOST, "--port", port]
    command += ["--alias", Path(model).stem]  # clients are told this name, not a path
    command += ["--ctx-size", context, "--parallel", 1, "--jinja", "--path", CHAT_PAGE, "--offline"]
    for adapter in adapters:
        command += ["--lora", adapter]
    with tempfile.TemporaryDirectory(prefix="llama-server-") as folder:
        log = Path(folder) / "log.txt"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", GUARD, *map(str, command)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # interrupting a cell does not reach it
            )
        server = Server(f"http://{HOST}:{port}", log, process)
        try:
            _wait(server, timeout)
            yield server
        finally:
            server.stop()


def request(
    server: Server | str,
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    timeout: float = 300,
) -> Any:
    """Ask a server and return its answer, read from JSON.

    Args:
        server: A server, or its address.
        path: Such as `/v1/chat/completions`.
        body: What to post; without it, a GET is sent.
        timeout: Seconds that the answer may take.

    Returns:
        The answer.

    Raises:
        ConnectionError: No server answers there.
        TimeoutError: It does not answer in time.
        RuntimeError: It answers with an error, which the message repeats.

    Taught in: notebooks/06_deployment.ipynb
    """
    url = server.url if isinstance(server, Server) else server.rstrip("/")
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=timeout) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        said = error.read().decode("utf-8", "replace")
        with contextlib.suppress(ValueError, KeyError, TypeError):
            said = json.loads(said)["error"]["message"]
        raise RuntimeError(f"{url}{path} answered {error.code}: {said}") from error
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError) as error:
        why = server.why_silent() if isinstance(server, Server) else ""
        raise ConnectionError(f"no server answers at {url} ({error}){why}") from error


def is_address(side: object) -> bool:
    """Return whether something is the address of a server.

    Args:
        side: Anything.

    Returns:
        True for a text that begins with `http://` or `https://`.

    Example:
        >>> is_address("http://127.0.0.1:8080"), is_address("model.gguf")
        (True, False)
    """
    return isinstance(side, str) and side.startswith(("http://", "https://"))


def address(side: str) -> tuple[str, str]:
    """Split what is given for a server into its address and the name of a model that it serves.

    Args:
        side: Such as `http://127.0.0.1:11434/v1#yoda`; with or without `/v1` and a name.

    Returns:
        The address without `/v1`, and the name, which may be empty.

    Example:
        >>> address("http://127.0.0.1:11434/v1#yoda:latest")
        ('http://127.0.0.1:11434', 'yoda:latest')
    """
    url, _, model = side.partition("#")
    return url.rstrip("/").removesuffix("/v1"), model


def modelfile(
    tokenizer: "PreTrainedTokenizerBase", model: Path | str, *, system: str | None = None
) -> str:
    """Return an Ollama Modelfile for a chat model of the ChatML kind, from its own template.

    Args:
        tokenizer: The model's, with its chat template.
        model: The GGUF file, as Ollama finds it.
        system: The system message of the training rows; without it the template's own, if it
            writes one.

    Returns:
        Its text: FROM, TEMPLATE in Ollama's own language, the system message, and the tokens to
        stop at.

    Raises:
        ValueError: The chat template does not write what the Modelfile's template would, so that
            one would have to be written by hand.

    Taught in: notebooks/06_deployment.ipynb
    """
    start, end = "<|im_start|>", "<|im_end|>"
    conversation = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "U"},
    ]
    written = tokenizer.apply_chat_template(
        conversation, tokenize=False, add_generation_prompt=True
    )
    expected = f"{start}system\nS{end}\n{start}user\nU{end}\n{start}assistant\n"
    if written != expected:
        raise ValueError(
            f"this chat template is not ChatML: it writes {written!r}. Write TEMPLATE by hand so "
            "that it gives the same, and compare the token ids with onegpu.parity"
        )
    if system is None:
        default = tokenizer.apply_chat_template(conversation[1:], tokenize=False)
        if default.startswith(f"{start}system\n"):
            system = default.removeprefix(f"{start}system\n").split(end)[0]
    # A Modelfile knows no escapes: three quotes hold any text but themselves.
    line = f'SYSTEM """{system}"""\n' if system else ""
    return f'''\
FROM {model}
TEMPLATE """{{{{- range .Messages }}}}{start}{{{{ .Role }}}}
{{{{ .Content }}}}{end}
{{{{ end }}}}{start}assistant
"""
{line}PARAMETER stop {end}
PARAMETER temperature 0
'''


def _free_port(port: int | None) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port or 0))
        except OSError as error:
            raise OSError(
                error.errno, f"port {port} of {HOST} is taken: give another, or none at all"
            ) from error
        return probe.getsockname()[1]


def _wait(server: Server, timeout: float) -> None:
    """Return when the server answers."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if not server.is_running():
            raise RuntimeError(f"llama-server ended before it answered{server.why_silent()}")
        with contextlib.suppress(ConnectionError, RuntimeError):
            request(server.url, "/health")
            return
        time.sleep(0.05)
    raise RuntimeError(f"no answer within {timeout:.0f} s{server.why_silent()}")
