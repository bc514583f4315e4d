"""What machines boot from: recipes, building trees and disks, fetching a distribution's own, and the store of all."""
