# The workbook in a container, with its packages and the text encoder.
#
#   docker build -t rs-zeroseg .
#   docker run --rm -p 127.0.0.1:8888:8888 rs-zeroseg        then open the address that it prints
#
# It runs on the CPU. --build-arg CUDA=1 is for a machine with an NVIDIA GPU (docker run --gpus all). Without it the CPU
# build of torch is taken, if pip finds one. Where pip shall look, beside its own index, is said by pip's variables:
# --build-arg PIP_FIND_LINKS=... or PIP_EXTRA_INDEX_URL=...
# Untried: the authors had no Docker. Its pip commands were run in a new environment.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS wheels
ARG CUDA
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
WORKDIR /source
COPY . .
RUN python tools/kit_wheels.py ${CUDA:+--cuda} /wheels

FROM python:${PYTHON}-slim
ARG PIP_INDEX_URL
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git libexpat1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home learner \
    && install --directory --owner=learner /workbook
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    python -m pip install --no-cache-dir --no-index --find-links /wheels "rs_zeroseg[lab,gis]"
USER learner
WORKDIR /workbook
RUN rs_zeroseg fetch text
COPY --chown=learner README.md LICENSE CHANGELOG.md ./
COPY --chown=learner nbs nbs
EXPOSE 8888
CMD ["jupyter", "lab", "nbs", "--ip=0.0.0.0", "--port=8888", "--no-browser"]
