"""The compile jail: tenants' modules meet the compiler in a process that has nothing to lose.

`jail.Jail` is the host's side; `zygote`, `confine`, `seccomp` and `work` are the other one. Import what you need from
its modules: this file loads nothing, so that the jailed side stays small.
"""
