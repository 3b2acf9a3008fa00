data "aws_vpc" "default" {
  default = true
}

data "aws_subnets" "default" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.default.id]
  }
}

data "aws_subnet" "default" {
  for_each = toset(data.aws_subnets.default.ids)
  id       = each.value
}

data "aws_security_group" "default" {
  vpc_id = data.aws_vpc.default.id
  name   = "default"
}

data "aws_security_groups" "default" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.default.id]
  }
}

data "aws_route_table" "default" {
  vpc_id = data.aws_vpc.default.id
  filter {
    name   = "association.main"
    values = ["true"]
  }
}

data "aws_internet_gateway" "default" {
  filter {
    name   = "attachment.vpc-id"
    values = [data.aws_vpc.default.id]
  }
}

data "aws_network_interface" "web" {
  id = aws_network_interface.web.id
}

data "aws_nat_gateway" "main" {
  id = aws_nat_gateway.main.id
}

data "aws_availability_zone" "a" {
  name = "us-east-1a"
}

data "aws_regions" "all" {}

data "aws_vpcs" "main" {
  tags = {
    Name = "main"
  }
  depends_on = [aws_vpc.main]
}

data "aws_vpc" "main" {
  filter {
    name   = "cidr-block-association.cidr-block"
    values = ["10.21.*"]
  }
  depends_on = [aws_vpc_ipv4_cidr_block_association.second]
}

data "aws_route_tables" "main" {
  vpc_id     = aws_vpc.main.id
  depends_on = [aws_route_table.public, aws_route_table.private, aws_route_table.middle]
}

data "aws_route" "internet" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = aws_route.internet.destination_cidr_block
}

data "aws_network_interfaces" "web" {
  filter {
    name   = "addresses.private-ip-address"
    values = ["10.20.10.2?"]
  }
  depends_on = [aws_network_interface.web, aws_network_interface.many]
}

data "aws_network_acls" "main" {
  vpc_id     = aws_vpc.main.id
  depends_on = [aws_network_acl.private, aws_network_acl.spare]
}

data "aws_eip" "web" {
  id = aws_eip.web.id
}

data "aws_eips" "all" {
  filter {
    name   = "domain"
    values = ["vpc"]
  }
  depends_on = [aws_eip.web, aws_eip.nat]
}

data "aws_nat_gateways" "main" {
  vpc_id = aws_vpc.main.id
  filter {
    name   = "state"
    values = ["available"]
  }
  depends_on = [aws_nat_gateway.main]
}

data "aws_vpc_dhcp_options" "main" {
  dhcp_options_id = aws_vpc_dhcp_options.main.id
}

data "aws_ec2_managed_prefix_list" "offices" {
  name       = aws_ec2_managed_prefix_list.offices.name
  depends_on = [aws_ec2_managed_prefix_list.offices]
}

data "aws_ec2_managed_prefix_lists" "all" {
  depends_on = [aws_ec2_managed_prefix_list.offices]
}

data "aws_key_pair" "deployer" {
  key_name           = aws_key_pair.deployer.key_name
  include_public_key = true
}

data "aws_vpc_security_group_rule" "http" {
  security_group_rule_id = aws_vpc_security_group_ingress_rule.http.id
}

data "aws_vpc_security_group_rules" "web" {
  filter {
    name   = "group-id"
    values = [aws_security_group.web.id]
  }
  depends_on = [
    aws_vpc_security_group_ingress_rule.http, aws_vpc_security_group_ingress_rule.self,
    aws_vpc_security_group_ingress_rule.offices, aws_vpc_security_group_egress_rule.all,
  ]
}

# Images and types of instances, as modules look them up.
data "aws_ami" "ecs" {
  most_recent = true
  owners      = ["amazon"]

  filter {
    name   = "name"
    values = ["al2023-ami-ecs-hvm-*-x86_64"]
  }
  filter {
    name   = "virtualization-type"
    values = ["hvm"]
  }
  filter {
    name   = "root-device-type"
    values = ["ebs"]
  }
}

data "aws_ami" "arm" {
  most_recent = true
  owners      = ["137112412989"]

  filter {
    name   = "name"
    values = ["al2023-ami-2023.*"]
  }
  filter {
    name   = "architecture"
    values = ["arm64"]
  }
}

data "aws_ami_ids" "al2" {
  owners = ["amazon"]

  filter {
    name   = "name"
    values = ["amzn2-ami-ecs-hvm-*-x86_64-ebs"]
  }
  filter {
    name   = "owner-alias"
    values = ["amazon"]
  }
}

data "aws_ec2_instance_type" "large" {
  instance_type = "m5.large"
}

data "aws_ec2_instance_types" "small" {
  filter {
    name   = "current-generation"
    values = ["true"]
  }
  filter {
    name   = "processor-info.supported-architecture"
    values = ["arm64"]
  }
  filter {
    name   = "vcpu-info.default-vcpus"
    values = ["2"]
  }
}

data "aws_ec2_instance_type_offering" "preferred" {
  filter {
    name   = "instance-type"
    values = ["t2.micro", "t3.micro"]
  }
  preferred_instance_types = ["t3.micro", "t2.micro"]
}

data "aws_ec2_instance_type_offerings" "zones" {
  location_type = "availability-zone"

  filter {
    name   = "instance-type"
    values = ["c6g.large"]
  }
}

data "aws_subnets" "public" {
  filter {
    name   = "vpc-id"
    values = [aws_vpc.main.id]
  }
  tags = {
    Tier = "public"
  }
  depends_on = [aws_subnet.public]
}

output "account" {
  value = data.aws_caller_identity.current.account_id
}

output "region" {
  value = data.aws_region.current.name
}

output "partition" {
  value = data.aws_partition.current.partition
}

output "zones" {
  value = data.aws_availability_zones.available.names
}

output "vpc" {
  value = aws_vpc.main.id
}

output "default_subnets" {
  value = sort([for s in data.aws_subnet.default : s.cidr_block])
}

output "public_subnets" {
  value = length(data.aws_subnets.public.ids)
}

# All that the data sources found, as one string to compare.
output "found" {
  value = join(" ", [
    data.aws_availability_zone.a.zone_id,
    contains(data.aws_regions.all.names, "us-east-1"),
    length(data.aws_vpcs.main.ids),
    data.aws_vpc.main.id == aws_vpc.main.id,
    length(data.aws_route_tables.main.ids),
    data.aws_route.internet.gateway_id == aws_internet_gateway.main.id,
    length(data.aws_network_interfaces.web.ids),
    length(data.aws_network_acls.main.ids) >= 3,
    data.aws_eip.web.public_ip == aws_eip.web.public_ip,
    length(data.aws_nat_gateways.main.ids),
    data.aws_vpc_dhcp_options.main.domain_name,
    data.aws_ec2_managed_prefix_list.offices.max_entries,
    data.aws_key_pair.deployer.key_type,
    data.aws_vpc_security_group_rule.http.ip_protocol,
    length(data.aws_vpc_security_group_rules.web.ids),
    data.aws_ami.ecs.architecture,
    data.aws_ami.arm.image_owner_alias,
    length(data.aws_ami_ids.al2.ids),
    data.aws_ec2_instance_type.large.default_vcpus,
    data.aws_ec2_instance_type.large.memory_size,
    data.aws_ec2_instance_type.large.maximum_network_interfaces,
    contains(data.aws_ec2_instance_types.small.instance_types, "t4g.large"),
    data.aws_ec2_instance_type_offering.preferred.instance_type,
    length(data.aws_ec2_instance_type_offerings.zones.locations),
  ])
}
