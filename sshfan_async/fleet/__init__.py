"""Fleets: open connections once, and run many commands over them. Private, except `Fleet` and `SyncFleet`.

front.Fleet, sync.SyncFleet -> home.Home -> pool.Pool -> host.FleetHost -> master.Master (an ssh without a command)
run.FleetRun -> command.HostCommand -> sessions.Sessions -> a channel of `sshfan_async.mux`
"""
