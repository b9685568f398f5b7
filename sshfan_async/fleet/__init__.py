"""Warm fleets: connections opened once, and many commands over them. Private but for `Fleet` and `SyncFleet`.

front.Fleet, sync.SyncFleet -> home.Home -> pool.Pool -> host.FleetHost -> master.Master, an ssh without a command
run.FleetRun -> command.HostCommand -> sessions.Sessions -> a channel of `sshfan_async.mux`
"""
