# Instances by themselves and from a launch template, as people write them for
# Amazon ECS.
data "aws_ssm_parameter" "ecs" {
  name = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
}

resource "aws_iam_role" "node" {
  name = "tf-instances"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ec2.amazonaws.com" } }]
  })
}

resource "aws_iam_instance_profile" "node" {
  name = "tf-instances"
  role = aws_iam_role.node.name
}

resource "aws_vpc" "main" {
  cidr_block           = "10.40.0.0/16"
  enable_dns_hostnames = true
}

resource "aws_internet_gateway" "main" {
  vpc_id = aws_vpc.main.id
}

resource "aws_subnet" "main" {
  vpc_id            = aws_vpc.main.id
  cidr_block        = "10.40.1.0/24"
  availability_zone = "us-east-1b"
}

resource "aws_security_group" "node" {
  name   = "tf-instances"
  vpc_id = aws_vpc.main.id
}

resource "aws_key_pair" "node" {
  key_name   = "tf-instances"
  public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBvyM3bKJH4lFzIqxbrA9HhDLSbqRzhUZgp5kCk0WZ5w"
}

resource "aws_launch_template" "node" {
  name                   = "tf-instances"
  image_id               = data.aws_ssm_parameter.ecs.insecure_value
  instance_type          = "t3.micro"
  key_name               = aws_key_pair.node.key_name
  ebs_optimized          = true
  update_default_version = true
  user_data              = base64encode("#!/bin/bash\necho ECS_CLUSTER=tf${var.revision} >> /etc/ecs/ecs.config\n")

  iam_instance_profile {
    arn = aws_iam_instance_profile.node.arn
  }

  network_interfaces {
    device_index                = 0
    associate_public_ip_address = true
    subnet_id                   = aws_subnet.main.id
    security_groups             = [aws_security_group.node.id]
    delete_on_termination       = true
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_size = 40
      volume_type = "gp3"
    }
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 2
    instance_metadata_tags      = "enabled"
  }

  monitoring {
    enabled = true
  }

  tag_specifications {
    resource_type = "volume"
    tags = {
      From = "template"
    }
  }

  tags = {
    Revision = var.revision
  }
}

# By itself, changed in place with and without a stop.
resource "aws_instance" "plain" {
  ami                    = data.aws_ssm_parameter.ecs.insecure_value
  instance_type          = var.revision > 1 ? "t3.small" : "t3.micro"
  subnet_id              = aws_subnet.main.id
  private_ip             = "10.40.1.20"
  vpc_security_group_ids = [aws_security_group.node.id]
  key_name               = aws_key_pair.node.key_name
  iam_instance_profile   = aws_iam_instance_profile.node.name
  user_data              = "#!/bin/bash\necho plain\n"

  disable_api_termination              = var.revision > 1
  instance_initiated_shutdown_behavior = "terminate"
  source_dest_check                    = var.revision == 1
  monitoring                           = var.revision > 1

  metadata_options {
    http_tokens                 = var.revision > 1 ? "required" : "optional"
    http_put_response_hop_limit = var.revision
  }

  root_block_device {
    volume_size = 32
    volume_type = "gp3"

    tags = {
      Of = "plain"
    }
  }

  tags = {
    Name     = "plain"
    Revision = var.revision
  }
}

# What the template says, but for the type.
resource "aws_instance" "templated" {
  instance_type = "t3.nano"

  launch_template {
    id      = aws_launch_template.node.id
    version = "1"
  }

  tags = {
    Name = "templated"
  }

  # The provider hashes what it has read of the template's user data once more
  # for its plan, wherever the instance runs.
  lifecycle {
    ignore_changes = [user_data]
  }
}

# Through an interface of its own, with an address that stays.
resource "aws_network_interface" "own" {
  subnet_id   = aws_subnet.main.id
  private_ips = ["10.40.1.30"]
}

resource "aws_instance" "own" {
  ami           = data.aws_ssm_parameter.ecs.insecure_value
  instance_type = "t3.nano"

  network_interface {
    network_interface_id = aws_network_interface.own.id
    device_index         = 0
  }

  instance_market_options {
    market_type = "spot"
  }
}

resource "aws_eip" "templated" {
  instance   = aws_instance.templated.id
  domain     = "vpc"
  depends_on = [aws_internet_gateway.main]
}

data "aws_instances" "running" {
  instance_state_names = ["running"]

  filter {
    name   = "vpc-id"
    values = [aws_vpc.main.id]
  }

  depends_on = [aws_instance.plain, aws_instance.templated, aws_instance.own]
}

output "running" {
  value = length(data.aws_instances.running.ids)
}

output "plain" {
  value = aws_instance.plain.id
}

output "found" {
  value = join(" ", [
    aws_instance.plain.instance_state, aws_instance.plain.availability_zone, aws_instance.plain.private_dns, aws_instance.templated.key_name,
    aws_instance.templated.root_block_device[0].volume_size, aws_instance.own.private_ip, aws_instance.own.instance_lifecycle,
    aws_launch_template.node.default_version,
  ])
}
