#!/usr/bin/env python3
"""Puts a libtorch that the `tch` crate can link against into one folder.

    python3 scripts/libtorch.py --into .libtorch [--cuda auto|yes|no]

The folder is laid out as torch-sys wants it:

    include/           headers
    lib/               libtorch_cpu.so and the few libraries that it needs
    build-version      2.11.0, which torch-sys checks
    cuda/              only with --cuda: the CUDA libraries, which showtell loads at start

`lib/` holds no libtorch_cuda.so on purpose: the binary links against the CPU
libraries alone, so one build runs on machines with and without a GPU.

Every file comes from a wheel on PyPI whose SHA-256 is pinned here (CPU) or in
libtorch-cuda.txt (GPU); nothing is installed into the system or into Python.
"""

import argparse
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile

VERSION = "2.11.0"
HERE = pathlib.Path(__file__).resolve().parent

# What `libtorch_cpu.so` of the PyPI wheel needs: itself and two small CUDA libraries.
CPU_WHEELS = """\
torch==2.11.0 --hash=sha256:7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a
nvidia-cuda-runtime==13.0.96 --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
nvidia-cuda-cupti==13.0.85 --hash=sha256:4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8
"""

LIBRARIES = {
    "torch/lib/libtorch_cpu.so",
    "torch/lib/libtorch.so",
    "torch/lib/libc10.so",
    "torch/lib/libgomp.so.1",
    "nvidia/cu13/lib/libcudart.so.13",
    "nvidia/cu13/lib/libcupti.so.13",
}

# What the torch wheel adds for a GPU; the NVIDIA wheels of libtorch-cuda.txt hold the rest.
CUDA_LIBRARIES = {
    "libtorch_cuda.so",
    "libtorch_cuda_linalg.so",
    "libtorch_nvshmem.so",
    "libc10_cuda.so",
    "libcaffe2_nvrtc.so",
}


def stop(message):
    sys.exit(f"libtorch: {message}")


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    if subprocess.run(command).returncode != 0:
        stop(
            "pip could not fetch the pinned wheels (its message is above). Where PyPI is not "
            "reachable, set LIBTORCH to a libtorch " + VERSION + " that you have and run make again."
        )


def check_machine():
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        stop(
            f"no pinned wheels for {platform.system()} {platform.machine()}. "
            f"Set LIBTORCH to a libtorch {VERSION} for it and run make again."
        )
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        stop(
            "pip is missing from this Python. On Debian and Ubuntu: sudo apt-get install "
            "python3-pip; elsewhere: python3 -m ensurepip --user"
        )


def install_cpu(target):
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".libtorch-") as scratch:
        scratch = pathlib.Path(scratch)
        requirements = scratch / "requirements.txt"
        requirements.write_text(CPU_WHEELS)
        print(f"libtorch: fetching libtorch {VERSION} for the CPU (540 MB) into {target}", file=sys.stderr)
        # The interpreter that runs this may be any Python 3; the wheels are chosen for one.
        pip("download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:",
            "--implementation", "cp", "--python-version", "3.11", "--abi", "cp311", "--abi", "none",
            "--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64",
            "--platform", "manylinux_2_25_x86_64", "--platform", "manylinux_2_17_x86_64",
            "--dest", str(scratch), "-r", str(requirements))
        built = scratch / "libtorch"
        for folder in ("include", "lib"):
            (built / folder).mkdir(parents=True)
        missing = set(LIBRARIES)
        for wheel in sorted(scratch.glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                for entry in archive.infolist():
                    if entry.is_dir():
                        continue
                    if entry.filename in LIBRARIES:
                        destination = built / "lib" / pathlib.PurePosixPath(entry.filename).name
                        missing.discard(entry.filename)
                    elif entry.filename.startswith("torch/include/"):
                        destination = built / entry.filename.removeprefix("torch/")
                    else:
                        continue
                    destination.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(entry) as source, open(destination, "wb") as out:
                        shutil.copyfileobj(source, out, 1 << 20)
            wheel.unlink()
        if missing:
            stop("the wheels do not hold " + ", ".join(sorted(missing)))
        (built / "build-version").write_text(VERSION + "\n")
        # Renamed as a whole, so that an interrupted run leaves nothing that looks finished.
        if target.exists():
            shutil.rmtree(target)
        built.rename(target)


def install_cuda(target):
    print(f"libtorch: fetching the CUDA libraries (about 2.5 GB) into {target / 'cuda'}", file=sys.stderr)
    scratch = target / "cuda.partial"
    shutil.rmtree(scratch, ignore_errors=True)
    # pip's own platform tags apply here: --target with --require-hashes, wheels only.
    pip("install", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:",
        "--implementation", "cp", "--python-version", "3.11", "--abi", "cp311", "--abi", "none",
        "--platform", "manylinux_2_28_x86_64", "--platform", "manylinux_2_27_x86_64",
        "--platform", "manylinux_2_25_x86_64", "--platform", "manylinux2014_x86_64",
        "--platform", "manylinux_2_17_x86_64", "--platform", "manylinux_2_18_x86_64",
        "--target", str(scratch), "-r", str(HERE / "libtorch-cuda.txt"))
    # Of torch's wheel only the CUDA libraries are wanted: showtell takes libtorch_cpu.so and libc10.so
    # from lib/, and a second copy would be a second libtorch.
    keep_only(scratch / "torch" / "lib", CUDA_LIBRARIES)
    keep_only(scratch / "torch", {"lib"})
    # The dist-info folders hold the licences.
    keep_only(scratch, {"nvidia", "torch", *(folder.name for folder in scratch.glob("*.dist-info"))})
    missing = CUDA_LIBRARIES - {library.name for library in (scratch / "torch" / "lib").iterdir()}
    if missing:
        stop("the torch wheel does not hold " + ", ".join(sorted(missing)))
    scratch.rename(target / "cuda")


def keep_only(folder, names):
    for entry in folder.iterdir():
        if entry.name in names:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def has_nvidia_gpu():
    return pathlib.Path("/proc/driver/nvidia/version").exists() or pathlib.Path("/dev/nvidia0").exists()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=pathlib.Path, required=True, metavar="FOLDER")
    parser.add_argument("--cuda", choices=("auto", "yes", "no"), default="auto",
                        help="fetch the CUDA libraries too; auto: where an NVIDIA driver is loaded")
    arguments = parser.parse_args()
    target = arguments.into.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)

    version = target / "build-version"
    if not version.exists() or version.read_text().strip() != VERSION:
        check_machine()
        install_cpu(target)
    wants_cuda = arguments.cuda == "yes" or (arguments.cuda == "auto" and has_nvidia_gpu())
    if wants_cuda and not (target / "cuda").exists():
        check_machine()
        install_cuda(target)


if __name__ == "__main__":
    main()
