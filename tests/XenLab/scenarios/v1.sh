# v1: vga="stdvga": the VNC server's address and password as libxl sets them, exact pictures of the guest's framebuffer, which Xen keeps track of,
# save and restore with the picture, destroy.
. /lab/dom0/screen.sh
screen_guest v1 stdvga bochs
