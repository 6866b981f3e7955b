#!/usr/bin/env bash
# A SLURM of one machine with two processors: cluster.sh start FOLDER, cluster.sh stop FOLDER. It needs root, and
# Debian's packages slurm-wlm and munge. Jobs find it by /etc/slurm/slurm.conf, which must not be there before.
set -euo pipefail
action=$1 folder=$2 conf=/etc/slurm/slurm.conf

if [ "$action" = stop ]; then
  scontrol shutdown || true
  if [ -f "$folder/munged.pid" ]; then kill "$(cat "$folder/munged.pid")" || true; fi
  rm -f $conf
  exit
fi

mkdir -p "$folder/state" "$folder/spool" /etc/slurm
cat > "$folder/slurm.conf" <<END
ClusterName=test
SlurmctldHost=$(hostname)(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
SlurmUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
SlurmctldPort=16817
SlurmdPort=16818
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MinJobAge=3600
NodeName=$(hostname) NodeAddr=127.0.0.1 CPUs=2 RealMemory=$(awk '/MemTotal/ { print int($2 / 2048) }' /proc/meminfo) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
ln -s "$folder/slurm.conf" $conf
head -c 1024 /dev/urandom > "$folder/munge.key"
chmod 600 "$folder/munge.key"
munged --force --key-file "$folder/munge.key" --socket "$folder/munge.socket" --pid-file "$folder/munged.pid" \
  --log-file "$folder/munged.log" --seed-file "$folder/munged.seed"
slurmctld -c
slurmd
for _ in $(seq 30); do
  if timeout 10 srun --ntasks 1 true 2> "$folder/srun.log"; then exit; fi
  sleep 1
done
cat "$folder"/*.log
exit 1
