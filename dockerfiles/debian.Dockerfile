# Everything that OTP and Elixir are built with, on Debian and Ubuntu.
ARG base
FROM ${base}
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean \
 && apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    gcc g++ make perl-base libssl-dev libncurses-dev zlib1g-dev binutils dpkg-dev xz-utils unixodbc-dev \
    libwxgtk3.*-dev libgl-dev libglu1-mesa-dev libsctp-dev
