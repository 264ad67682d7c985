# Everything that OTP and Elixir are built with, on the RHEL family.
ARG base
FROM ${base}
RUN --mount=type=cache,target=/var/cache/dnf,sharing=locked \
    dnf -y --setopt=keepcache=1 install \
    gcc gcc-c++ make perl openssl-devel ncurses-devel zlib-devel binutils rpm-build xz unixODBC-devel \
    lksctp-tools-devel
