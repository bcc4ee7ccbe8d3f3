"""Free ports below the kernel's range for outgoing connections, so that nobody takes one while its owner is down."""

import random
import socket

_given = set()


def free_ports(count):
    """So many ports on 127.0.0.1 that nobody listens on and that were not given out before."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        low = int(file.read().split()[0])
    found = []
    while len(found) < count:
        port = random.randrange(10240, max(low, 20000))
        if port in _given:
            continue
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        found.append(port)
    return found
