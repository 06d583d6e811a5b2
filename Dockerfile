# polyhost for Amazon SageMaker. docs/deployment.md says how to build, try and push it.
# Needs no BuildKit. Layers go from what changes least to what changes most: a change of our code rebuilds in seconds.

# A tag may name another image tomorrow; with a digest (debian:bookworm-slim@sha256:...) it is this one. docs/supply-chain.md says where to get it.
ARG BASE_IMAGE=debian:bookworm-slim
FROM $BASE_IMAGE AS dependencies

# Java's package fails to configure without the manual's folder, which slim images lack.
# The last three libraries are MXNet's.
RUN mkdir -p /usr/share/man/man1 \
    && apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates openjdk-17-jre-headless python3.11 python3.11-venv \
        libgomp1 libquadmath0 libgfortran5 \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/*

# Java takes the encoding of file names from LANG.
ENV LANG=C.UTF-8 \
    PATH=/opt/venv/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1

# Which frameworks go in: any of mxnet, torch, sklearn, huggingface (with torch), xgboost, lightgbm, onnx, separated by spaces.
ARG FRAMEWORKS="mxnet torch sklearn"
# Where PyTorch's CPU build comes from; the default index has its CUDA build only. Hashes in place of those in locks/torch-cpu.txt.
ARG TORCH_INDEX=
ARG TORCH_HASHES=

COPY locks /tmp/locks

# The packages' own tests (100 MB) stay out.
RUN python3.11 -m venv /opt/venv \
    && /tmp/locks/install $FRAMEWORKS \
    && find /opt/venv -type d -name tests -prune -exec rm -rf {} + \
    && rm -rf /tmp/locks

# Of Multi Model Server's jar, Netty's HTTP modules and commons-io are replaced by Debian's patched ones; with "no" it stays as released.
ARG PATCH_MMS=yes
COPY scripts/patch-jar /tmp/patch-jar
RUN case $PATCH_MMS in \
        yes) apt-get update \
            && python3.11 /tmp/patch-jar /opt/venv/lib/python3.11/site-packages/mms/frontend/model-server.jar \
            && apt-get clean \
            && rm -rf /var/lib/apt/lists/* ;; \
        no) ;; \
        *) echo "PATCH_MMS is '$PATCH_MMS'; give yes or no" >&2; exit 1 ;; \
    esac \
    && rm /tmp/patch-jar

# A broken set of packages fails here and not at the first request. MXNet uses the name numpy.bool, which numpy 1.24 dropped.
RUN python -W ignore -c "import importlib, sys, numpy; \
numpy.bool = numpy.bool_; \
modules = {'sklearn': ['sklearn', 'pandas', 'joblib'], 'huggingface': ['torch', 'transformers', 'peft'], 'onnx': ['onnxruntime']}; \
names = ['pkg_resources', 'mms', 'sagemaker_inference.model_server']; \
names += [module for name in sys.argv[1:] for module in modules.get(name, [name])]; \
print('imported', *[importlib.import_module(name).__name__ for name in names])" $FRAMEWORKS


FROM dependencies AS code

COPY pyproject.toml README.md LICENSE NOTICE /tmp/polyhost/
# polyhost/container and polyhost/handlers are links to the two folders beside it.
COPY polyhost /tmp/polyhost/polyhost
COPY container /tmp/polyhost/container
COPY handlers /tmp/polyhost/handlers
RUN python -m pip install --no-deps --no-build-isolation --target /opt/polyhost /tmp/polyhost


# What makes the SBOM stays out of the image.
FROM dependencies AS sbom

COPY locks/build.txt locks/sbom.txt /tmp/locks/
RUN python3.11 -m venv /opt/sbom \
    && cd /tmp/locks \
    && /opt/sbom/bin/python -m pip install --require-hashes -r build.txt \
    && /opt/sbom/bin/python -m pip install --require-hashes --no-build-isolation -r sbom.txt

ARG BASE_IMAGE
COPY scripts/sbom /tmp/sbom
COPY --from=code /opt/polyhost /opt/polyhost
RUN PYTHONPATH=/opt/polyhost /opt/sbom/bin/python /tmp/sbom image --base "$BASE_IMAGE" --output /tmp/sbom.cdx.json


FROM dependencies

LABEL com.amazonaws.sagemaker.capabilities.multi-models=true \
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true \
      org.opencontainers.image.title=polyhost \
      org.opencontainers.image.licenses=Apache-2.0

# Not in site-packages: MMS puts a model's folder behind PYTHONPATH, so that a model's module cannot stand in for ours.
ENV PATH=/opt/polyhost/bin:$PATH \
    PYTHONPATH=/opt/polyhost

COPY --from=code /opt/polyhost /opt/polyhost
# A copy and no link: Python puts the folder of the real file first on sys.path.
COPY container/image/dockerd-entrypoint.py /usr/local/bin/dockerd-entrypoint.py
COPY --from=sbom /tmp/sbom.cdx.json /usr/share/polyhost/sbom.cdx.json

# Late, for what comes after a build argument is built again when it changes.
ARG BASE_IMAGE
LABEL org.opencontainers.image.base.name=$BASE_IMAGE
RUN case $BASE_IMAGE in \
        *@sha256:*) ;; \
        *) echo "warning: BASE_IMAGE=$BASE_IMAGE has no digest, so the next build may have another base" >&2 ;; \
    esac

EXPOSE 8080

# In bash, so that a container short of memory need not start one more Python.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/${SAGEMAKER_BIND_TO_PORT:-8080} && printf 'GET /ping HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]

ENTRYPOINT ["python", "/usr/local/bin/dockerd-entrypoint.py"]
CMD ["serve"]
