# What uses the subnets must not come before their routes do.

output "vpc_id" {
  value = aws_vpc.this.id
}

output "vpc_cidr_block" {
  value = aws_vpc.this.cidr_block
}

output "public_subnets" {
  value      = aws_subnet.public[*].id
  depends_on = [aws_route.internet, aws_route_table_association.public]
}

output "private_subnets" {
  value      = aws_subnet.private[*].id
  depends_on = [aws_route.nat, aws_route_table_association.private]
}
