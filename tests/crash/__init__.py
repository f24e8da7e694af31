"""The delivery promise under crashes: fail points, disk faults and random kills, checked from outside."""
