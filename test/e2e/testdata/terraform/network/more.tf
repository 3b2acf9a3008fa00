# Resources that fewer stacks have.
resource "aws_ec2_managed_prefix_list" "offices" {
  name           = "offices"
  address_family = "IPv4"
  max_entries    = 5

  dynamic "entry" {
    for_each = var.revision > 1 ? ["198.51.100.0/24", "203.0.113.0/24"] : ["198.51.100.0/24"]
    content {
      cidr        = entry.value
      description = "office ${entry.key}"
    }
  }

  tags = {
    Name = "offices"
  }
}

resource "aws_ec2_managed_prefix_list" "apart" {
  name           = "apart"
  address_family = "IPv4"
  max_entries    = 1
}

resource "aws_ec2_managed_prefix_list_entry" "apart" {
  cidr           = "192.0.2.0/25"
  description    = "from elsewhere"
  prefix_list_id = aws_ec2_managed_prefix_list.apart.id
}

resource "aws_vpc_security_group_ingress_rule" "offices" {
  security_group_id = aws_security_group.web.id
  prefix_list_id    = aws_ec2_managed_prefix_list.offices.id
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
}

resource "aws_security_group_rule" "apart" {
  security_group_id = aws_security_group.old.id
  type              = "egress"
  protocol          = "tcp"
  from_port         = 443
  to_port           = 443
  prefix_list_ids   = [aws_ec2_managed_prefix_list.apart.id]
}

resource "aws_route_table" "middle" {
  vpc_id = aws_vpc.main.id
}

resource "aws_route" "offices" {
  route_table_id             = aws_route_table.middle.id
  destination_prefix_list_id = aws_ec2_managed_prefix_list.offices.id
  gateway_id                 = aws_internet_gateway.main.id
}

resource "aws_route" "through" {
  route_table_id         = aws_route_table.middle.id
  destination_cidr_block = "192.168.0.0/16"
  network_interface_id   = aws_network_interface.many.id
}

resource "aws_network_interface" "many" {
  subnet_id         = aws_subnet.private[0].id
  description       = "many"
  private_ips       = var.revision > 1 ? ["10.20.10.21", "10.20.10.22", "10.20.10.23"] : ["10.20.10.21", "10.20.10.22"]
  source_dest_check = var.revision > 1
  security_groups   = [aws_security_group.database.id]

  tags = {
    Name     = "many"
    Revision = var.revision
  }

  lifecycle {
    ignore_changes = [security_groups]
  }
}

resource "aws_network_interface_sg_attachment" "many" {
  network_interface_id = aws_network_interface.many.id
  security_group_id    = aws_security_group.old.id
}

resource "aws_eip" "many" {
  domain = "vpc"

  tags = {
    Name = "many"
  }
}

resource "aws_eip_association" "many" {
  allocation_id        = aws_eip.many.id
  network_interface_id = aws_network_interface.many.id
  private_ip_address   = "10.20.10.21"
  depends_on           = [aws_internet_gateway.main]
}

resource "aws_internet_gateway" "apart" {}

resource "aws_vpc" "apart" {
  cidr_block = "10.40.0.0/24"
}

# Names the local route, which is there anyway.
resource "aws_route_table" "apart" {
  vpc_id = aws_vpc.apart.id

  route {
    cidr_block = aws_vpc.apart.cidr_block
    gateway_id = "local"
  }
}

resource "aws_internet_gateway_attachment" "apart" {
  internet_gateway_id = aws_internet_gateway.apart.id
  vpc_id              = aws_vpc.apart.id
}

resource "aws_ec2_tag" "apart" {
  resource_id = aws_vpc.apart.main_route_table_id
  key         = "Extra"
  value       = "revision ${var.revision}"
}

resource "aws_key_pair" "deployer" {
  key_name   = "deployer"
  public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL9jROubWDxAWrnZmOSOYnQVlqxhlobn+Dd/zpIcVnIF deployer@example.com"

  tags = {
    Revision = var.revision
  }
}
