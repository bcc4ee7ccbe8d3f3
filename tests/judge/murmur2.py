"""The partition that every Kafka client computes for a key: murmur2 as in the Java client, written from its definition."""

MASK = 0xFFFFFFFF


def murmur2(data):
    """32 bits of murmur2 with Kafka's seed."""
    m, length = 0x5BD1E995, len(data)
    h = (0x9747B28C ^ length) & MASK
    for i in range(0, length - length % 4, 4):
        k = int.from_bytes(data[i:i + 4], "little")
        k = (k * m) & MASK
        k ^= k >> 24
        k = (k * m) & MASK
        h = ((h * m) & MASK) ^ k
    tail = data[length - length % 4:]
    if tail:
        h = ((h ^ int.from_bytes(tail, "little")) * m) & MASK
    h ^= h >> 13
    h = (h * m) & MASK
    return h ^ (h >> 15)


def partition(data, partitions):
    """The partition of a record with this key in a topic of so many partitions."""
    return (murmur2(data) & 0x7FFFFFFF) % partitions
