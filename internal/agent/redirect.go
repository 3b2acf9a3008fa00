package agent

import "roadstead.dev/internal/network/machine"

// MetadataAddress is where the agent serves tasks' metadata and credentials;
// RedirectMetadata leads what is sent to 169.254.170.2 there.
const MetadataAddress = "127.0.0.1:51679"

// RedirectMetadata leads what the machine's programs and the tasks' containers
// send to 169.254.170.2:80, where tasks look for their metadata, to the agent,
// in the machine's network namespace. The function that it returns undoes it.
func RedirectMetadata() (undo func(), err error) {
	return machine.Redirect(MachineNetns, credentialsPort)
}

// MachineNetns is the path of the machine's network namespace, its first
// process's.
const MachineNetns = "/proc/1/ns/net"
