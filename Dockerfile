# syntax=docker/dockerfile:1
# centerkp from its wheel:
#     make package
#     docker build -t centerkp .                              # CPU
#     docker build -t centerkp:gpu --build-arg EXTRAS=gpu .   # NVIDIA; CUDA comes with the wheels
#     docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" centerkp train --coco ann.json
#     docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD:/data" centerkp:gpu train --coco ann.json
FROM python:3.12-slim

# Extras with commas between them: gpu, onnx, openvino, ...
ARG EXTRAS=""
# The wheel that `make package` left, and the versions that the tests ran with.
COPY dist/*.whl constraints.txt /tmp/centerkp/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint /tmp/centerkp/constraints.txt "$(echo /tmp/centerkp/*.whl)${EXTRAS:+[$EXTRAS]}" && \
    rm -r /tmp/centerkp

# No rights are needed, and whoever runs it has a home, whatever their number.
ENV HOME=/tmp NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000:1000
WORKDIR /data
ENTRYPOINT ["centerkp"]
CMD ["--help"]
