namespace XenDM.Vnc;

/// <summary>Numbers of the RFB protocol (RFC 6143, and the community's description for what came later).</summary>
internal static class Rfb
{
    // Security types (7.1.2), and those of VeNCrypt.
    public const byte SecurityNone = 1, SecurityPassword = 2, SecurityVeNCrypt = 19;
    public const uint X509None = 260, X509Password = 261;

    // Messages of clients (7.5).
    public const byte SetPixelFormat = 0, SetEncodings = 2, UpdateRequest = 3, KeyEvent = 4, PointerEvent = 5, ClientCutText = 6;
    public const byte EnableContinuousUpdates = 150, ClientFence = 248, SetDesktopSize = 251, QemuClient = 255;
    public const byte QemuKey = 0, QemuAudio = 1;
    public const ushort QemuAudioSetFormat = 2;

    // Messages of the server (7.6).
    public const byte FramebufferUpdate = 0, ServerCutText = 3, EndOfContinuousUpdates = 150, ServerFence = 248;

    // Pseudo-encodings (7.8).
    public const int DesktopSize = -223, Cursor = -239, PointerMotionChange = -257, QemuExtendedKey = -258, LedState = -261, DesktopName = -307, ExtendedDesktopSize = -308;
    public const int Fence = -312, ContinuousUpdates = -313, CursorWithAlpha = -314, ExtendedMouseButtons = -316;

    // Flags of fences.
    public const uint FenceBlockBefore = 1, FenceBlockAfter = 2, FenceRequest = 0x8000_0000;
    public const int MaxFence = 64;

    // Extended desktop size: who changed it (x), and how a client's wish ended (y).
    public const ushort SizeByServer = 0, SizeByThisClient = 1, SizeChanged = 0, SizeProhibited = 1;
}
