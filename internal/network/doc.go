// Package network is the data plane of VPCs: namespaces that route, network
// interfaces, security groups, addresses.
//
// A VPC is a network namespace with IP forwarding and no bridge. A network
// interface is a veth pair between it and the namespace of a task or a load
// balancer, with a /32 route on the VPC's side and proxy ARP, so that every
// packet is routed there, within a subnet too, and passes the VPC's nftables
// rules: sources are checked first, then the sender's security groups, then
// the receiver's. A veth pair links each VPC with the host, which is its way
// to the world outside.
//
// The package keeps nothing that it could not find again: kernel objects are
// named after ids and the instance's prefix, Apply is given all that a VPC
// should be and makes it so, and a server that was killed adopts what it
// left. It knows nothing of records; controller/network translates them.
package network
