"""Small faults planted in modules where a wrong number would hide: do their tests notice?"""
