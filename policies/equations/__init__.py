"""Equations written once for every engine: Python operators on arrays, nothing imported but the standard library."""
