# What the widely used module for VPCs makes of its usual inputs: three zones,
# two tiers, one NAT gateway, and the defaults taken over.
locals {
  zones  = slice(data.aws_availability_zones.available.names, 0, 3)
  block  = "10.50.0.0/16"
  prefix = "module"
}

resource "aws_vpc" "module" {
  cidr_block                           = local.block
  instance_tenancy                     = "default"
  enable_dns_hostnames                 = true
  enable_dns_support                   = true
  enable_network_address_usage_metrics = false

  tags = {
    Name = local.prefix
  }
}

resource "aws_subnet" "module_public" {
  count                               = length(local.zones)
  vpc_id                              = aws_vpc.module.id
  availability_zone                   = local.zones[count.index]
  cidr_block                          = cidrsubnet(local.block, 8, count.index + 48)
  map_public_ip_on_launch             = var.revision > 1
  private_dns_hostname_type_on_launch = "ip-name"

  tags = {
    Name                     = "${local.prefix}-public-${local.zones[count.index]}"
    "kubernetes.io/role/elb" = "1"
  }
}

resource "aws_subnet" "module_private" {
  count                                          = length(local.zones)
  vpc_id                                         = aws_vpc.module.id
  availability_zone                              = local.zones[count.index]
  cidr_block                                     = cidrsubnet(local.block, 4, count.index)
  enable_resource_name_dns_a_record_on_launch    = true
  enable_resource_name_dns_aaaa_record_on_launch = false

  tags = {
    Name                              = "${local.prefix}-private-${local.zones[count.index]}"
    "kubernetes.io/role/internal-elb" = "1"
  }
}

resource "aws_internet_gateway" "module" {
  vpc_id = aws_vpc.module.id

  tags = {
    Name = local.prefix
  }
}

resource "aws_route_table" "module_public" {
  vpc_id = aws_vpc.module.id

  tags = {
    Name = "${local.prefix}-public"
  }
}

resource "aws_route" "module_public" {
  route_table_id         = aws_route_table.module_public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.module.id

  timeouts {
    create = "5m"
  }
}

resource "aws_route_table_association" "module_public" {
  count          = length(local.zones)
  subnet_id      = element(aws_subnet.module_public[*].id, count.index)
  route_table_id = aws_route_table.module_public.id
}

resource "aws_route_table" "module_private" {
  vpc_id = aws_vpc.module.id

  tags = {
    Name = "${local.prefix}-private"
  }
}

resource "aws_route_table_association" "module_private" {
  count          = length(local.zones)
  subnet_id      = element(aws_subnet.module_private[*].id, count.index)
  route_table_id = aws_route_table.module_private.id
}

resource "aws_eip" "module" {
  domain = "vpc"

  tags = {
    Name = "${local.prefix}-${local.zones[0]}"
  }

  depends_on = [aws_internet_gateway.module]
}

resource "aws_nat_gateway" "module" {
  allocation_id = aws_eip.module.id
  subnet_id     = aws_subnet.module_public[0].id

  tags = {
    Name = "${local.prefix}-${local.zones[0]}"
  }

  depends_on = [aws_internet_gateway.module]
}

resource "aws_route" "module_private" {
  route_table_id         = aws_route_table.module_private.id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.module.id
}

resource "aws_default_security_group" "module" {
  vpc_id = aws_vpc.module.id

  dynamic "ingress" {
    for_each = var.revision > 1 ? [443] : []
    content {
      from_port   = ingress.value
      to_port     = ingress.value
      protocol    = "tcp"
      cidr_blocks = [local.block]
    }
  }

  tags = {
    Name = "${local.prefix}-default"
  }
}

resource "aws_default_network_acl" "module" {
  default_network_acl_id = aws_vpc.module.default_network_acl_id
  subnet_ids             = null

  dynamic "ingress" {
    for_each = [100, 101]
    content {
      action          = "allow"
      cidr_block      = ingress.value == 100 ? "0.0.0.0/0" : null
      ipv6_cidr_block = ingress.value == 101 ? "::/0" : null
      from_port       = 0
      protocol        = "-1"
      rule_no         = ingress.value
      to_port         = 0
    }
  }

  dynamic "egress" {
    for_each = [100, 101]
    content {
      action          = "allow"
      cidr_block      = egress.value == 100 ? "0.0.0.0/0" : null
      ipv6_cidr_block = egress.value == 101 ? "::/0" : null
      from_port       = 0
      protocol        = "-1"
      rule_no         = egress.value
      to_port         = 0
    }
  }

  tags = {
    Name = "${local.prefix}-default"
  }

  lifecycle {
    ignore_changes = [subnet_ids]
  }
}

resource "aws_default_route_table" "module" {
  default_route_table_id = aws_vpc.module.default_route_table_id

  timeouts {
    create = "5m"
    update = "5m"
  }

  tags = {
    Name = "${local.prefix}-default"
  }
}
