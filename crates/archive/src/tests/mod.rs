mod crash;
mod layout;
mod read;
mod retain;
mod verify;
mod world;
