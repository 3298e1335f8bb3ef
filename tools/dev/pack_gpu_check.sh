#!/usr/bin/env bash
# Packs the GPU check for a machine without network and Paddle: one file of less than 60 MB.
#
#   tools/dev/pack_gpu_check.sh OUTPUT [--images FOLDER] [--against FILE.onnx ...] [--dry-run]
#
# There, with Python 3.12, the CUDA 13 libraries that come with PyTorch, and nothing else:
#   tar xJf gpu_check.tar.xz && gpu_check/run.sh
#
# In it: this package, its networks without large weights (they are drawn again from their names),
# and the Python packages it needs, ONNX Runtime's CUDA provider cut down to the architecture ARCH
# (90: H100, H200). Not in it: TensorRT for RTX, which alone takes 62 MB and has no code for
# architecture 90, and TensorRT, whose libraries are larger still; their engines run where the
# machine has these packages, and are rows with the reason where it does not.
#
# Needs: python3 (PYTHON) with this package and its extras cpu and onnx, network for pip, xz. The
# exports take about 20 minutes of two cores; PREPARED=FOLDER takes those of an earlier
# tools/gpu_check.py --prepare FOLDER. --dry-run packs a small network.
set -euo pipefail
PYTHON=${PYTHON:-python3}
ARCH=${ARCH:-90}
MOST_MB=60
ONNXRUNTIME=onnxruntime-gpu==1.31.1
# Later releases of OpenCV are a third larger.
PACKAGES="numpy==2.5.5 opencv-python-headless==4.10.0.84 pyyaml==6.0.4 tqdm"

[ $# -ge 1 ] || { sed -n '2,5p' "$0" | cut -c3-; exit 2; }
repo=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
output=$(cd "$1" && pwd)
shift
pack=$output/gpu_check
rm -rf "$pack"
mkdir -p "$pack/site" "$pack/tools" "$output/wheels"

echo "== networks"
if [ -n "${PREPARED:-}" ]; then
  cp -r "$PREPARED/networks" "$PREPARED/images" "$pack/"
else
  PYTHONPATH=$repo "$PYTHON" "$repo/tools/gpu_check.py" --prepare "$pack" "$@"
fi

echo "== Python packages"
platforms=()
for tag in manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014; do
  platforms+=(--platform ${tag}_x86_64)
done
# shellcheck disable=SC2086
"$PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
  --python-version 3.12 --implementation cp "${platforms[@]}" \
  --dest "$output/wheels" $ONNXRUNTIME $PACKAGES
for wheel in "$output"/wheels/*.whl; do "$PYTHON" -m zipfile -e "$wheel" "$pack/site"; done
capi=$pack/site/onnxruntime/capi
"$PYTHON" -m venv "$output/strip"
"$output/strip/bin/python" -m pip install --quiet --disable-pip-version-check zstandard
provider=libonnxruntime_providers_cuda.so
"$output/strip/bin/python" "$repo/tools/dev/strip_gpu_code.py" \
  "$capi/$provider" "$output/$provider" --arch "$ARCH"
mv "$output/$provider" "$capi/$provider"
rm -rf "$capi"/libonnxruntime_providers_tensorrt.so "$capi"/libonnxruntime.so.1* \
  "$pack"/site/onnxruntime/{transformers,quantization,tools,ThirdPartyNotices.txt} \
  "$pack"/site/numpy/f2py "$pack"/site/cv2/data "$pack"/site/*/*.pyi
find "$pack/site" -depth -type d -name tests -exec rm -rf {} +

echo "== this package"
cp -r "$repo/ppdet_lite" "$pack/"
cp "$repo/tools/gpu_check.py" "$pack/tools/"
find "$pack" -depth -type d -name __pycache__ -exec rm -rf {} +
cat > "$pack/run.sh" <<'RUN'
#!/usr/bin/env bash
# The GPU check from this folder; results go to OUT (default: gpu_check_results). Options: those of
# tools/gpu_check.py, for instance --dry-run (with networks packed for it) or --budget 300.
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
libraries=$("$python" -c '
import glob, os, sysconfig
found = glob.glob(sysconfig.get_paths()["purelib"] + "/nvidia/**/*.so*", recursive=True)
print(":".join(sorted({os.path.dirname(path) for path in found})))')
export CUDA_MODULE_LOADING=LAZY  # kernels of other networks are not in the library any more
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export PYTHONPATH=$here/site:$here
exec "$python" "$here/tools/gpu_check.py" --networks "$here/networks" --images "$here/images" \
  --output_dir "${OUT:-gpu_check_results}" "$@"
RUN
chmod +x "$pack/run.sh"

echo "== packing"
tar -C "$output" --sort=name --owner=0 --group=0 -cf - gpu_check |
  xz --x86 --lzma2=preset=6,dict=128MiB > "$output/gpu_check.tar.xz"
size=$(stat -c %s "$output/gpu_check.tar.xz")
echo "$output/gpu_check.tar.xz: $size bytes"
[ "$size" -lt $((MOST_MB * 1000000)) ] || { echo "error: more than $MOST_MB MB"; exit 1; }
