# A Debian or Ubuntu system as its users have it: packages are installed into it to see that they can be.
ARG base
FROM ${base}
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean \
 && apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    openssl libncurses6 libstdc++6 zlib1g libsctp1 unixodbc libwxgtk-webview3.*-1*
