#!/usr/bin/env bash
# Builds the image and pushes it to Amazon ECR; build_and_push.sh --help says how.
set -euo pipefail

usage() {
    cat <<'END'
Usage: build_and_push.sh [IMAGE_NAME[:TAG]] [OPTION OF docker build]...

Builds the image, makes the ECR repository IMAGE_NAME where it is missing, pushes the image there, and prints its full
name as the only line on stdout. IMAGE_NAME is polyhost and TAG is latest unless given.

  build_and_push.sh
  build_and_push.sh my-models:v2 --build-arg FRAMEWORKS="torch sklearn"

Variables:
  AWS_REGION, AWS_DEFAULT_REGION  the region; else the one of "aws configure get region", else ap-northeast-2
  POLYHOST_REGISTRY               the registry's host in place of ACCOUNT.dkr.ecr.REGION.amazonaws.com
  POLYHOST_LOGIN                  ecr (default), or none: ask nothing of AWS and use the login that docker already has;
                                  for a registry that is not ECR, named by POLYHOST_REGISTRY
END
}

say() { echo "build_and_push.sh: $*" >&2; }

fail() {
    say "$1"
    exit "${2:-1}"
}

need_command() { command -v "$1" >/dev/null || fail "the command '$1' is not on PATH; $2"; }

need_engine() {
    need_command docker "install Docker: https://docs.docker.com/engine/install/"
    docker version >/dev/null 2>&1 ||
        fail "no container engine answers at ${DOCKER_HOST:-the default socket}; start Docker, or set DOCKER_HOST"
}

parse_name() {
    local part='[a-z0-9]+([._-]+[a-z0-9]+)*'
    [[ $1 =~ ^$part(/$part)*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$ ]] ||
        fail "IMAGE_NAME is '$1'; give NAME or NAME:TAG, with NAME in lower case, such as polyhost:v2" 2
    name=${1%%:*}
    tag=latest
    [[ $1 != *:* ]] || tag=${1#*:}
}

find_region() {
    region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
    region=${region:-ap-northeast-2}
}

find_account() {
    account=$(aws sts get-caller-identity --region "$region" --query Account --output text) ||
        fail "AWS does not accept the credentials for region '$region' (see above); run 'aws configure', or set AWS_PROFILE"
}

ecr_host() {
    local suffix=amazonaws.com
    [[ $region != cn-* ]] || suffix=amazonaws.com.cn
    echo "$account.dkr.ecr.$region.$suffix"
}

ensure_repository() {
    local error
    error=$(aws ecr describe-repositories --region "$region" --repository-names "$name" 2>&1 >/dev/null) && return
    [[ $error == *RepositoryNotFoundException* ]] || fail "ECR repository '$name' in '$region' cannot be read: $error"
    say "making the ECR repository $name in $region"
    aws ecr create-repository --region "$region" --repository-name "$name" >/dev/null ||
        fail "ECR repository '$name' cannot be made in '$region' (see above); it takes the right ecr:CreateRepository"
}

login() {
    aws ecr get-login-password --region "$region" | docker login --username AWS --password-stdin "$registry" >&2 ||
        fail "docker cannot log in to '$registry' (see above); it takes the right ecr:GetAuthorizationToken"
}

find_registry() {
    case ${POLYHOST_LOGIN:-ecr} in
        ecr)
            need_command aws "install the AWS CLI: https://aws.amazon.com/cli/"
            find_region
            find_account
            registry=${POLYHOST_REGISTRY:-$(ecr_host)}
            ;;
        none)
            registry=${POLYHOST_REGISTRY:-}
            [[ -n $registry ]] || fail "POLYHOST_LOGIN is 'none' but POLYHOST_REGISTRY is not set; name the registry's host" 2
            ;;
        *) fail "POLYHOST_LOGIN is '$POLYHOST_LOGIN'; give ecr or none" 2 ;;
    esac
}

main() {
    if [[ ${1:-} == --help || ${1:-} == -h ]]; then usage; exit; fi
    if [[ ${1:-} == -* ]]; then set -- polyhost "$@"; fi
    parse_name "${1:-polyhost}"
    find_registry
    local image=$registry/$name:$tag
    [[ " ${*:2}" == *BASE_IMAGE=*@sha256:* ]] ||
        say "the base image has no digest, so that the next build may have another base; give --build-arg BASE_IMAGE=NAME@sha256:..."
    say "building and pushing $image"
    need_engine
    if [[ ${POLYHOST_LOGIN:-ecr} == ecr ]]; then
        ensure_repository
        login
    fi
    # SageMaker takes plain image manifests only, without the index that BuildKit adds for its attestations.
    BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build --tag "$image" "${@:2}" "$(dirname "$0")" >&2
    docker push "$image" >&2
    echo "$image"
}

main "$@"
